//! Who asks (under construction).

pub mod ask;
pub mod connect;
pub mod failure;
pub mod files;
pub mod holder;
pub mod ports;
pub mod trust;
