//! Names, keys, signatures, bytes, JSON, times and limits, on which all other modules rest.

pub mod bytes;
pub mod id;
pub mod json;
pub mod key;
pub mod key_file;
pub mod limits;
pub mod sign;
pub mod text;
pub mod utc;
