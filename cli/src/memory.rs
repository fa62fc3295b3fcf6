//! What lies in this process's memory stays there: private keys do, for as long as it runs.
//!
//! Owns: no core dump, and no reading of its memory by other processes of the same user (a debugger, a
//! compromised neighbour). Does not own: wiping keys that are not needed any more (`sublet_core::base::sign`), what
//! the system writes to swap, and whoever is root.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Has the kernel write no core dump of this process and of those that it starts, and let nobody but root look
/// at its memory. Where that is refused it is said, and the process goes on.
pub(crate) fn keep() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        eprintln!("warning: a crash of this process may write its keys to the disk: {error}");
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            eprintln!("warning: processes of this user can read this one's memory: {error}");
        }
    }
}
