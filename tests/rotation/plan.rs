//! [`Plan`]: the size of a run, and when processes are killed.

use std::time::Duration;

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) processes: usize,
    /// After this number, the run ends.
    pub(crate) rotations: u64,
    /// The lifetime of access tokens, in whole seconds.
    pub(crate) lifetime: Duration,
    pub(crate) kills: Kills,
    /// The longest time before a token request, and between its response and the save.
    pub(crate) max_delay: Duration,
    pub(crate) resend_interrupted: bool,
    /// Only against hanging.
    pub(crate) limit: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kills {
    /// The process of rotation 20 is killed after the response, and the next one after rotation 40 before its request. At
    /// each other tenth rotation, one of the other processes is killed.
    AtRotations,
    /// A random process is killed each second.
    EverySecond,
}

const AFTER_RESPONSE: u64 = 20;
const BEFORE_REQUEST: u64 = 40;

impl Plan {
    /// A run of seconds. Its access tokens do not expire, so that nothing depends on the speed of the machine.
    pub(crate) fn short() -> Self {
        Self {
            processes: 3,
            rotations: 60,
            lifetime: Duration::from_secs(3600),
            kills: Kills::AtRotations,
            max_delay: Duration::ZERO,
            resend_interrupted: false,
            limit: Duration::from_secs(120),
        }
    }

    /// A run of minutes.
    pub(crate) fn long() -> Self {
        Self {
            processes: 8,
            rotations: 1000,
            lifetime: Duration::from_secs(10),
            kills: Kills::EverySecond,
            max_delay: Duration::from_millis(100),
            limit: Duration::from_secs(1800),
            ..Self::short()
        }
    }

    /// Returns whether to kill the process that is about to send a request after this number of responses.
    pub(crate) fn kills_before_request(&self, responses: u64) -> bool {
        self.kills == Kills::AtRotations && responses == BEFORE_REQUEST
    }

    /// Returns whether to kill the process that has received the response with this number.
    pub(crate) fn kills_after_response(&self, number: u64) -> bool {
        self.kills == Kills::AtRotations && number == AFTER_RESPONSE
    }

    /// Returns whether to kill another process than the one that has received the response with this number.
    pub(crate) fn kills_another(&self, number: u64) -> bool {
        self.kills == Kills::AtRotations && number.is_multiple_of(10)
    }
}
