//! What the model holds every event against, and how it says that one does not hold.

/// A property that an event may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Property {
    /// P1: no hop allows more than the hops before it.
    NeverExceed,
    /// P2: no hop lives longer than the hops before it, nor after something in its chain was revoked.
    NeverOutlive,
    /// P3: only the holder of a key acts, and records name the one who acted.
    NoImpersonation,
    /// P4: each hop is signed by the holder of the hop before it, and its record shows that.
    EveryHopProven,
    /// P5: each hop has its record, in a log without gaps of which the time does not run backwards.
    EveryHopStored,
    /// P6: a tool that is cut off refuses once what it knows of revocations is too old.
    Offline,
    /// P7: a stock library reads each token and finds its signatures good.
    RealBiscuit,
    /// A restart changes nothing that was written.
    Restart,
    /// The same request again gives the same answer and no further record.
    Repeat,
    /// A refusal changes nothing but the log and its counters.
    Refusal,
    /// The bounds of one agent are used up by that agent alone.
    Isolation,
    /// The state says what the model says.
    Agreement,
}

/// A property that does not hold.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    /// Which.
    pub(crate) property: Property,
    /// What was found.
    pub(crate) detail: String,
}

/// Whether a property holds.
pub(crate) type Check<T = ()> = Result<T, Broken>;

impl Property {
    /// That this property does not hold.
    pub(crate) fn broken(self, detail: impl Into<String>) -> Broken {
        Broken { property: self, detail: detail.into() }
    }

    /// Holds if `holds` is true.
    pub(crate) fn holds(self, holds: bool, detail: impl FnOnce() -> String) -> Check {
        if holds { Ok(()) } else { Err(self.broken(detail())) }
    }
}
