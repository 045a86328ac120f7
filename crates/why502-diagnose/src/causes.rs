//! The catalogue: one file per cause, and this list. Its order is that of the ids.

mod configured_error;
mod response_header_too_big;
mod upstream_not_listening;
mod upstream_wrong_interface;

use crate::cause::Cause;

/// Every cause that is recognised, by id.
pub static CAUSES: &[&Cause] = &[
    &configured_error::CAUSE,
    &response_header_too_big::CAUSE,
    &upstream_not_listening::CAUSE,
    &upstream_wrong_interface::CAUSE,
];

/// The cause of that id.
pub fn find_cause(id: &str) -> Option<&'static Cause> {
    CAUSES.iter().copied().find(|cause| cause.id == id)
}
