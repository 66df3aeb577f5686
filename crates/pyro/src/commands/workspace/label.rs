//! Labels as they are written on the command line.

use pyro_api::workspace::identity::{LabelKey, LabelValue};

/// Reads `KEY=VALUE`.
pub(super) fn parse(text: &str) -> Result<(LabelKey, LabelValue), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let told = |error: pyro_api::ErrorBody| error.error;
    Ok((LabelKey::new(key).map_err(told)?, LabelValue::new(value).map_err(told)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_a_key_and_a_value() {
        let (key, value) = parse("issue = a=b ").unwrap();
        assert_eq!((key.as_str(), value.as_str()), ("issue", "a=b"));
        for bad in ["issue", "=x", "issue=", "issue= ", "a b=c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
