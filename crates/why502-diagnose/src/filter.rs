//! What the packet filters of this host do to a packet: pure, and three-valued.
//!
//! A rule whose condition is not understood may apply and may not. Both are followed: what ends a packet only in one of the two
//! cases is possible, what ends it in both is certain, and only what nothing can end is accepted.

mod journey;
mod packet;
mod routing;
mod walk;

pub(crate) use journey::{Arrival, Journey, Stop, answer, follow, send};
pub(crate) use packet::{Doubt, ESTABLISHED, End, Interface, NEW, Packet, Place};
pub(crate) use routing::{Namespace, Way, World};
pub(crate) use walk::{Ending, is_before_tracking};

#[cfg(test)]
mod tests;
