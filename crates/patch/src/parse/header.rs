//! What stands before a file's hunks.

use super::{Reader, body, label, label::Label};
use crate::{Change, FilePatch, FilePath, Hunk, LineKind, Mode, ParseError, ParseFault, lines::excerpt};

/// Lines between `diff --git` and `---`.
#[derive(Default)]
struct Extended<'a> {
    old_mode: Option<Mode>,
    new_mode: Option<Mode>,
    /// Of the `index` line: the mode before and after.
    index_mode: Option<Mode>,
    added: Option<Mode>,
    deleted: Option<Mode>,
    rename_from: Option<&'a [u8]>,
    rename_to: Option<&'a [u8]>,
    copy_from: Option<&'a [u8]>,
    copy_to: Option<&'a [u8]>,
}

impl<'a> Extended<'a> {
    /// Takes a line in; `false` if it is none of these.
    fn take(&mut self, line: &'a [u8]) -> Result<bool, ParseFault> {
        let behind = |word: &str| line.strip_prefix(word.as_bytes());
        if let Some(text) = behind("old mode ") {
            self.old_mode = Some(mode(text)?);
        } else if let Some(text) = behind("new mode ") {
            self.new_mode = Some(mode(text)?);
        } else if let Some(text) = behind("new file mode ") {
            self.added = Some(mode(text)?);
        } else if let Some(text) = behind("deleted file mode ") {
            self.deleted = Some(mode(text)?);
        } else if let Some(text) = behind("rename from ").or_else(|| behind("rename old ")) {
            self.rename_from = Some(text);
        } else if let Some(text) = behind("rename to ").or_else(|| behind("rename new ")) {
            self.rename_to = Some(text);
        } else if let Some(text) = behind("copy from ") {
            self.copy_from = Some(text);
        } else if let Some(text) = behind("copy to ") {
            self.copy_to = Some(text);
        } else if let Some(text) = behind("index ") {
            if let Some(space) = text.iter().position(|byte| *byte == b' ') {
                self.index_mode = Some(mode(&text[space + 1..])?);
            }
        } else {
            return Ok(line.starts_with(b"similarity index ") || line.starts_with(b"dissimilarity index "));
        }
        Ok(true)
    }
}

fn mode(text: &[u8]) -> Result<Mode, ParseFault> {
    let text = text.trim_ascii();
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .and_then(Mode::from_number)
        .ok_or_else(|| ParseFault::Mode { mode: excerpt(text) })
}

/// A file that begins with `diff --git`.
pub(super) fn git<'a>(reader: &mut Reader<'a>) -> Result<FilePatch<'a>, ParseError> {
    let first = reader.at;
    let header = reader.header_line().and_then(|line| line.strip_prefix(b"diff --git ")).unwrap_or_default();
    let names = label::git_names(header);
    let shown = excerpt(header);
    let mut extended = Extended::default();
    reader.advance();
    while let Some(line) = reader.header_line() {
        match extended.take(line) {
            Ok(true) => reader.advance(),
            Ok(false) => break,
            Err(fault) => return Err(reader.error(reader.at, Some(&shown), fault)),
        }
    }
    let next = reader.past_blank(reader.at);
    if reader.labels_at(next).is_some() {
        reader.at = next;
    }
    let line = reader.header_line().unwrap_or_default();
    if line.starts_with(b"GIT binary patch") || binary_note(line).is_some() {
        let name =
            names.as_ref().map_or_else(|| shown.clone(), |(_, new)| excerpt(label::without_prefix(new)));
        return Err(reader.error(reader.at, Some(&shown), ParseFault::Binary { name }));
    }
    if line.starts_with(b"@@ ") {
        return Err(reader.error(reader.at, Some(&shown), ParseFault::StrayHunk));
    }
    let labels = Labels::read(reader, &shown)?;
    let names = names.as_ref().map(|(old, new)| (old.as_slice(), new.as_slice()));
    let named = name_git(&extended, labels.as_ref(), names);
    let (change, name) = named.map_err(|fault| reader.error(first, Some(&shown), fault))?;
    let path = reader.path(first, &name)?;
    let change = match change {
        Named::Add => Change::Add,
        Named::Delete => Change::Delete,
        Named::Modify => Change::Modify,
        Named::Rename(from) => Change::Rename { from: reader.path(first, &from)? },
        Named::Copy(from) => Change::Copy { from: reader.path(first, &from)? },
    };
    if let Change::Rename { from } | Change::Copy { from } = &change
        && *from == path
    {
        return Err(reader.error(first, Some(&shown), ParseFault::Contradiction));
    }
    let hunks = match &labels {
        Some(labels) => read_hunks(reader, &path, labels, &change, true)?,
        None => Vec::new(),
    };
    let mut file = FilePatch { path, change, old_mode: None, new_mode: None, hunks, line: first + 1 };
    settle_modes(&mut file, &extended).map_err(|fault| reader.error(first, Some(&shown), fault))?;
    Ok(file)
}

/// A file that begins with `---`.
pub(super) fn plain<'a>(reader: &mut Reader<'a>) -> Result<FilePatch<'a>, ParseError> {
    let first = reader.at;
    let shown = reader.header_line().map(excerpt).unwrap_or_default();
    let Some(labels) = Labels::read(reader, &shown)? else {
        return Err(reader.error(first, None, ParseFault::NoNewLabel));
    };
    let named = match (&labels.old, &labels.new) {
        (Label::Null, Label::Null) => Err(ParseFault::BothNull),
        (Label::Null, Label::Name(new)) => Ok((Change::Add, label::without_prefix(new).to_vec())),
        (Label::Name(old), Label::Null) => Ok((Change::Delete, label::without_prefix(old).to_vec())),
        (Label::Name(old), Label::Name(new)) => label::common(old, new, false)
            .map(|name| (labels.by_time(), name))
            .ok_or_else(|| label::differ(old, new)),
    };
    let (change, name) = named.map_err(|fault| reader.error(first, None, fault))?;
    let path = reader.path(first, &name)?;
    let hunks = read_hunks(reader, &path, &labels, &change, false)?;
    let mut file = FilePatch { path, change, old_mode: None, new_mode: None, hunks, line: first + 1 };
    let shown = file.path.to_string();
    settle_modes(&mut file, &Extended::default())
        .map_err(|fault| reader.error(first, Some(&shown), fault))?;
    Ok(file)
}

/// `Binary files a/x and b/x differ`, as git and diff write it: the name.
pub(super) fn binary_note(line: &[u8]) -> Option<String> {
    let text = line.strip_prefix(b"Binary files ")?.strip_suffix(b" differ")?;
    let at = text.windows(5).position(|window| window == b" and ")?;
    let (old, new) = (&text[..at], &text[at + 5..]);
    let name = if new == b"/dev/null" { old } else { new };
    Some(excerpt(label::without_prefix(name)))
}

/// The lines `---` and `+++`.
struct Labels {
    old: Label,
    new: Label,
    /// The timestamp says that there is no such file.
    old_absent: bool,
    new_absent: bool,
    /// The transport put a carriage return at the end of each line.
    strip_cr: bool,
}

impl Labels {
    fn read(reader: &mut Reader<'_>, shown: &str) -> Result<Option<Self>, ParseError> {
        let Some((old, new)) = reader.labels_at(reader.at) else {
            return match reader.header_line() {
                Some(line) if line.starts_with(b"--- ") => {
                    Err(reader.error(reader.at, Some(shown), ParseFault::NoNewLabel))
                }
                _ => Ok(None),
            };
        };
        let strip_cr =
            [0, 1].iter().all(|line| reader.raw(reader.at + line).is_some_and(|l| l.ends_with(b"\r")));
        let (old, old_absent) =
            Label::read(old).map_err(|fault| reader.error(reader.at, Some(shown), fault))?;
        let (new, new_absent) =
            Label::read(new).map_err(|fault| reader.error(reader.at + 1, Some(shown), fault))?;
        reader.at += 2;
        Ok(Some(Self { old, new, old_absent, new_absent, strip_cr }))
    }

    /// What two labels with a name say by their timestamps.
    fn by_time(&self) -> Change {
        match (self.old_absent, self.new_absent) {
            (true, false) => Change::Add,
            (false, true) => Change::Delete,
            _ => Change::Modify,
        }
    }
}

enum Named {
    Add,
    Delete,
    Modify,
    Rename(Vec<u8>),
    Copy(Vec<u8>),
}

/// What a `diff --git` header does to which file.
fn name_git(
    extended: &Extended<'_>,
    labels: Option<&Labels>,
    names: Option<(&[u8], &[u8])>,
) -> Result<(Named, Vec<u8>), ParseFault> {
    let moved = match (extended.rename_from, extended.rename_to, extended.copy_from, extended.copy_to) {
        (None, None, None, None) => None,
        (Some(from), Some(to), None, None) => {
            Some((Named::Rename(label::bare_name(from)?), label::bare_name(to)?))
        }
        (None, None, Some(from), Some(to)) => {
            Some((Named::Copy(label::bare_name(from)?), label::bare_name(to)?))
        }
        (Some(_), None, None, None) => return Err(ParseFault::HalfRename { present: "rename from" }),
        (None, Some(_), None, None) => return Err(ParseFault::HalfRename { present: "rename to" }),
        (None, None, Some(_), None) => return Err(ParseFault::HalfRename { present: "copy from" }),
        (None, None, None, Some(_)) => return Err(ParseFault::HalfRename { present: "copy to" }),
        _ => return Err(ParseFault::Contradiction),
    };
    let (old_null, new_null) =
        labels.map_or((false, false), |labels| (labels.old == Label::Null, labels.new == Label::Null));
    if old_null && new_null {
        return Err(ParseFault::BothNull);
    }
    let added = extended.added.is_some() || old_null;
    let deleted = extended.deleted.is_some() || new_null;
    if (added && deleted) || ((added || deleted) && moved.is_some()) {
        return Err(ParseFault::Contradiction);
    }
    if let Some((named, to)) = moved {
        let (Named::Rename(from) | Named::Copy(from)) = &named else { return Err(ParseFault::Contradiction) };
        for (label, name) in labels.iter().flat_map(|labels| [(&labels.old, from), (&labels.new, &to)]) {
            if let Label::Name(label) = label
                && label != name
                && !ends_with_component(label, name)
            {
                return Err(label::differ(label, name));
            }
        }
        return Ok((named, to));
    }
    // Git writes `a/` before one name and `b/` before the other: twice the same is no prefix.
    let keep_prefix = names.is_some_and(|(old, new)| old == new);
    let of_header = names.and_then(|(old, new)| label::common(old, new, keep_prefix));
    let of_labels = match labels.map(|labels| (&labels.old, &labels.new)) {
        None | Some((Label::Null, Label::Null)) => None,
        Some((Label::Null, Label::Name(name)) | (Label::Name(name), Label::Null)) => {
            // The one name may have any prefix that the header shows to be one.
            let fits = of_header.clone().filter(|path| name == path || ends_with_component(name, path));
            Some(fits.unwrap_or_else(|| label::without_prefix(name).to_vec()))
        }
        Some((Label::Name(old), Label::Name(new))) => {
            Some(label::common(old, new, keep_prefix).ok_or_else(|| label::differ(old, new))?)
        }
    };
    let name = match (of_header, of_labels) {
        (Some(header), Some(label)) if FilePath::new(&header) != FilePath::new(&label) => {
            return Err(label::differ(&header, &label));
        }
        (_, Some(name)) | (Some(name), None) => name,
        (None, None) => {
            let (old, new) = names.unwrap_or_default();
            return Err(label::differ(old, new));
        }
    };
    let named = if added {
        Named::Add
    } else if deleted {
        Named::Delete
    } else {
        Named::Modify
    };
    Ok((named, name))
}

/// Whether `name` is `path` behind one more component.
fn ends_with_component(name: &[u8], path: &[u8]) -> bool {
    name.strip_suffix(path)
        .is_some_and(|prefix| prefix.ends_with(b"/") && !prefix[..prefix.len() - 1].contains(&b'/'))
}

/// The hunks behind labels, and whether they suit what happens to the file.
fn read_hunks<'a>(
    reader: &mut Reader<'a>,
    path: &FilePath,
    labels: &Labels,
    change: &Change,
    after_git: bool,
) -> Result<Vec<Hunk<'a>>, ParseError> {
    let shown = path.to_string();
    let form = body::Form {
        strip_cr: labels.strip_cr,
        after_git,
        // What an empty line stands for: in a file that is all new, a sign was lost rather than a space.
        blank: match change {
            Change::Add => LineKind::Added,
            Change::Delete => LineKind::Removed,
            _ => LineKind::Context,
        },
    };
    let mut hunks = Vec::new();
    loop {
        let next = reader.past_blank(reader.at);
        let is_hunk = reader.raw(next).is_some_and(|line| line.starts_with(b"@@"));
        if !is_hunk {
            break;
        }
        reader.at = next;
        let hunk = body::hunk(reader, form).map_err(|(at, fault)| reader.error(at, Some(&shown), fault))?;
        let alien = |kind| kind != LineKind::Context && kind == form.blank;
        if form.blank != LineKind::Context && !hunk.lines.iter().all(|line| alien(line.kind)) {
            let fault = ParseFault::WrongSide { added: *change == Change::Add };
            return Err(reader.error(hunk.line - 1, Some(&shown), fault));
        }
        hunks.push(hunk);
    }
    if hunks.is_empty() {
        return Err(reader.error(reader.at.saturating_sub(1), Some(&shown), ParseFault::NoHunks));
    }
    Ok(hunks)
}

/// Sets the modes that the header gives, and refuses a file to which nothing happens.
fn settle_modes(file: &mut FilePatch<'_>, extended: &Extended<'_>) -> Result<(), ParseFault> {
    match file.change {
        Change::Add => file.new_mode = extended.added.or(extended.new_mode).or(extended.index_mode),
        Change::Delete => file.old_mode = extended.deleted.or(extended.old_mode).or(extended.index_mode),
        Change::Modify | Change::Rename { .. } | Change::Copy { .. } => {
            file.old_mode = extended.old_mode.or(extended.index_mode);
            file.new_mode = extended.new_mode.filter(|new| Some(*new) != extended.old_mode);
        }
    }
    if let (Some(old), Some(new)) = (file.old_mode, file.new_mode)
        && !old.is_same_kind(new)
    {
        return Err(ParseFault::KindChange);
    }
    let changes_lines =
        file.hunks.iter().flat_map(|hunk| &hunk.lines).any(|line| line.kind != LineKind::Context);
    if file.change == Change::Modify && file.new_mode.is_none() && !changes_lines {
        return Err(ParseFault::NoChanges);
    }
    Ok(())
}
