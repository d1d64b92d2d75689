use crate::ports::StoreError;

/// Whether it can be the name of an object: no part of it leads elsewhere.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 255
        && name.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
        })
}

pub(super) fn checked(name: &str) -> Result<&str, StoreError> {
    match is_name(name) {
        true => Ok(name),
        false => Err(StoreError::BadName(
            name.chars().flat_map(char::escape_default).take(200).collect(),
        )),
    }
}
