//! What the gateway's side of the race rests on.

use super::Lost;
use crate::case::Case;
use crate::causes::idle_timeouts::millis;
use crate::durations::seconds;
use crate::finding::{Evidence, Origin};
use why502_model::GroupId;

/// That the gateway repeated a request where nothing but a kept connection lets it.
pub(super) fn repeated(lost: &[Lost<'_>]) -> Option<Evidence> {
    let line = lost.iter().rev().find_map(|(_, failure, _)| failure.access_line.clone())?;
    let says =
        "nginx repeated a request at the only address, which it does for a connection that was used before";
    Some(Evidence::supporting(says, Origin::Log(line)))
}

/// For how long the gateway keeps idle connections.
pub(super) fn kept(case: &Case<'_>, group: GroupId) -> Evidence {
    match (case.keeps_idle(group), &case.gateway.group(group).reuse.timeout.at) {
        (None, _) => {
            Evidence::supporting("this version of nginx keeps idle connections for ever", Origin::Derived)
        }
        (Some(kept), Some(at)) => {
            let says = format!("keepalive_timeout {} is in force for the group", seconds(millis(kept)));
            Evidence::supporting(says, Origin::File(at.clone()))
        }
        (Some(kept), None) => {
            let says =
                format!("no keepalive_timeout is set for the group: {} by default", seconds(millis(kept)));
            Evidence::supporting(says, Origin::Derived)
        }
    }
}
