use crate::server::Registry;
pub async fn images_nothing_needs_are_told_and_then_removed(_host: &str, _registry: Registry) {}
