//! Keeps private keys in the memory of this process.
//!
//! Owns: no core dumps, and no access to the memory by other processes of the same user, such as a debugger or
//! a compromised program. Does not own: wiping keys after use (`sublet_core::base::sign`), swap, and access by root.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Disables core dumps of this process and of its children, and access to its memory by other processes. Where
/// the kernel refuses, it prints a warning and continues.
pub(crate) fn keep() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        eprintln!(
            "warning: core dumps cannot be disabled, so a crash may write keys to disk: {error}"
        );
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            eprintln!(
                "warning: other processes of this user can read the memory of this one: {error}"
            );
        }
    }
}
