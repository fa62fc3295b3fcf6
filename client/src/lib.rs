//! Who asks (under construction).

pub mod ask;
pub mod connect;
pub mod failure;
pub mod ports;
