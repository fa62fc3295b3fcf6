//! Who asks (under construction).

pub mod ask;
pub mod check;
pub mod connect;
pub mod directory;
pub mod failure;
pub mod files;
pub mod follow;
pub mod holder;
pub mod identity;
pub mod ports;
pub mod renewal;
pub mod trust;
