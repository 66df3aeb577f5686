//! Requests on files as they are written, checked and refused.

use super::*;

fn workspace() -> WorkspaceRef {
    WorkspaceRef::new("a").unwrap()
}

fn code(checked: Result<(), ErrorBody>) -> Option<ErrorCode> {
    checked.err().map(|error| error.code)
}

#[test]
fn reads_have_the_contracts_limits() {
    let usual = FileReadRequest::new(workspace(), "a".into());
    let read: FileReadRequest = serde_json::from_str(r#"{"workspace_id":"a","path":"a"}"#).unwrap();
    assert_eq!((read.max_bytes, &read), (65_536, &usual));
    for (bad, expected) in [
        (FileReadRequest { max_bytes: 0, ..usual.clone() }, ErrorCode::InvalidSize),
        (FileReadRequest { max_bytes: 1_048_577, ..usual.clone() }, ErrorCode::InvalidSize),
        (FileReadRequest { path: "/etc/passwd".into(), ..usual.clone() }, ErrorCode::PathEscapes),
        (FileReadRequest { path: "../x".into(), ..usual.clone() }, ErrorCode::PathEscapes),
        (FileReadRequest { first_line: Some(0), ..usual.clone() }, ErrorCode::InvalidRequest),
        (
            FileReadRequest { first_line: Some(5), last_line: Some(4), ..usual.clone() },
            ErrorCode::InvalidRequest,
        ),
        (
            FileReadRequest { first_line: Some(5), offset: Some(0), ..usual.clone() },
            ErrorCode::InvalidRequest,
        ),
    ] {
        assert_eq!(code(bad.check()), Some(expected), "{bad:?}");
    }
    assert_eq!(code(FileReadRequest { max_bytes: 1_048_576, ..usual }.check()), None);
}

#[test]
fn writes_have_one_content_and_one_way() {
    let usual = FileWriteRequest::new(workspace(), "a".into(), "x");
    assert_eq!(code(usual.check()), None);
    let insert = FileWriteRequest { first_line: Some(3), last_line: Some(2), ..usual.clone() };
    assert_eq!(code(insert.check()), None);
    let long = "x".repeat(MAX_WRITE_BYTES);
    assert_eq!(code(FileWriteRequest::new(workspace(), "a".into(), &long).check()), None);
    for (bad, expected) in [
        (FileWriteRequest { text: None, ..usual.clone() }, ErrorCode::InvalidRequest),
        (
            FileWriteRequest { content_base64: Some("eA==".into()), ..usual.clone() },
            ErrorCode::InvalidRequest,
        ),
        (
            FileWriteRequest { text: None, content_base64: Some("eA".into()), ..usual.clone() },
            ErrorCode::InvalidRequest,
        ),
        (FileWriteRequest { text: Some(long + "x"), ..usual.clone() }, ErrorCode::FileTooLarge),
        (FileWriteRequest { path: WorkspacePath::root(), ..usual.clone() }, ErrorCode::InvalidRequest),
        (FileWriteRequest { first_line: Some(1), ..usual.clone() }, ErrorCode::InvalidRequest),
        (
            FileWriteRequest { first_line: Some(3), last_line: Some(1), ..usual.clone() },
            ErrorCode::InvalidRequest,
        ),
        (FileWriteRequest { create_only: true, append: true, ..usual }, ErrorCode::InvalidRequest),
    ] {
        assert_eq!(code(bad.check()), Some(expected));
    }
}

#[test]
fn replacing_must_mean_something() {
    let replace = |old: &str, new: &str| {
        let json = serde_json::json!({"workspace": "a", "path": "f", "old_text": old, "new_text": new});
        serde_json::from_value::<FileReplaceRequest>(json).unwrap()
    };
    assert_eq!(replace("a", "").count, 1);
    assert_eq!(code(replace("a", "").check()), None);
    for (old, new) in [("", "a"), ("a", "a")] {
        assert_eq!(code(replace(old, new).check()), Some(ErrorCode::InvalidRequest));
    }
}

#[test]
fn the_directory_of_the_workspace_stays() {
    let delete: FileDeleteRequest =
        serde_json::from_str(r#"{"workspace":"a","path":"/workspace","recursive":true}"#).unwrap();
    assert_eq!(code(delete.check()), Some(ErrorCode::InvalidRequest));
    let list: FileListRequest = serde_json::from_str(r#"{"workspace":"a"}"#).unwrap();
    assert_eq!(list.path, WorkspacePath::root());
    assert_eq!(code(list.check()), None);
    assert!(
        serde_json::from_str::<FileDeleteRequest>(r#"{"workspace":"a","path":"b","force":true}"#).is_err()
    );
}
