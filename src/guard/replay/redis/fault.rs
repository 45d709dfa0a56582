//! What can go wrong between this process and Redis, and what follows from it.
//!
//! | fault | was the command carried out? | the connection | within the time limit |
//! |---|---|---|---|
//! | it cannot be made | no | is made anew, with a growing pause | try again |
//! | it broke, is silent, or speaks another protocol | perhaps | is replaced | try again |
//! | `MOVED`, `ASK` | no | that of the other node is used (a cluster), or it is replaced | try again |
//! | an error that says what the server lacks: `READONLY`, `LOADING`, `NOAUTH`, `NOPERM`, `OOM`, `MISCONF`, `NOREPLICAS`, `BUSY`, .. | no | is replaced | try again |
//! | a command that is unknown or not supported, a value of another type | no | stays: every server would say so | give up |
//! | any other error | perhaps: a proxy may have made it up | is replaced | try again |
//!
//! A server that answers with an error is as good as none, for as long as it does: behind a name, a balancer
//! or a Sentinel there may be another one by now, and the same one may have what it lacked a moment later.
//! A master that its replicas have left, and that refuses with `NOREPLICAS`, is one such.

use std::{error::Error, fmt, io};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::ReplayStoreError;

/// What is wrong with a Redis server, or with the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedisFault {
    /// No connection can be made.
    Unreachable,
    /// The server refuses the user or the password.
    Authentication,
    /// The user may not do what the store needs to; the documentation lists the commands.
    Permission,
    /// The server, or what stands before it, does not answer.
    Silent,
    /// The connection broke.
    ConnectionLost,
    /// What answers is no Redis server, or answers what was not asked.
    Protocol,
    /// The server is a replica, as after a failover.
    ReadOnly,
    /// The server or its cluster does not serve at the moment: it loads its data, or has no master.
    NotReady,
    /// The server has no memory left, cannot write to its disk or to enough replicas, or has as many clients
    /// as it may.
    NoRoom,
    /// The server answers with another error.
    Refused,
}

impl fmt::Display for RedisFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "no connection to Redis",
            Self::Authentication => "Redis refuses the user or the password",
            Self::Permission => "the Redis user lacks a permission that the replay store needs",
            Self::Silent => "Redis did not answer in time",
            Self::ConnectionLost => "the connection to Redis was lost",
            Self::Protocol => "what answers is not Redis",
            Self::ReadOnly => "the Redis server is a replica",
            Self::NotReady => "the Redis server is not ready",
            Self::NoRoom => "the Redis server cannot store anything",
            Self::Refused => "Redis answered with an error",
        })
    }
}

/// A fault, and what caused it.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: RedisFault,
    cause: Option<RedisError>,
    /// Whether the command may have been carried out.
    pub(super) maybe_done: bool,
    pub(super) remedy: Remedy,
}

/// What to do before the next attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// There will be none.
    GiveUp,
    Reconnect,
    /// Another node of the cluster has the key: always, or for this command.
    Moved(String),
    Ask(String),
}

impl Fault {
    pub(super) fn unreachable(cause: RedisError) -> Self {
        let kind = match Self::answered(cause.clone()) {
            // What a server answers to a greeting says more than that there is no connection.
            Some(fault) => fault.kind,
            None if cause.kind() == ErrorKind::AuthenticationFailed => RedisFault::Authentication,
            None if cause.kind() == ErrorKind::Parse => RedisFault::Protocol,
            None => RedisFault::Unreachable,
        };
        Self::of(kind, Some(cause), false, Remedy::Reconnect)
    }

    pub(super) fn not_connected_in_time() -> Self {
        let cause = io::Error::from(io::ErrorKind::TimedOut).into();
        Self::of(
            RedisFault::Unreachable,
            Some(cause),
            false,
            Remedy::Reconnect,
        )
    }

    pub(super) fn silent() -> Self {
        Self::of(RedisFault::Silent, None, true, Remedy::Reconnect)
    }

    /// The time for a command ended over a connection that works, or had no time to show it.
    pub(super) fn late() -> Self {
        Self {
            remedy: Remedy::GiveUp,
            ..Self::silent()
        }
    }

    /// The same fault, met before the command was sent.
    pub(super) fn before_the_command(self, remedy: Remedy) -> Self {
        Self {
            maybe_done: false,
            remedy,
            ..self
        }
    }

    /// The same fault, of a node at this host. A node that does not know the host of another one names
    /// its port alone, and means its own.
    pub(super) fn told_by(mut self, host: Option<&str>) -> Self {
        if let (Remedy::Moved(node) | Remedy::Ask(node), Some(host)) = (&mut self.remedy, host) {
            let port = node.strip_prefix('?').unwrap_or(node).strip_prefix(':');
            // An IPv6 address may begin with a colon, too.
            if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) {
                *node = format!("{host}:{port}");
            }
        }
        self
    }

    /// While a connection was being made.
    pub(super) fn of_greeting(mut self) -> Self {
        if self.kind == RedisFault::ConnectionLost {
            self.kind = RedisFault::Unreachable;
        }
        self.before_the_command(Remedy::Reconnect)
    }

    /// As an answer to a user and a password. What a server refuses then in words of its own is these.
    pub(super) fn of_authentication(mut self) -> Self {
        if self.kind == RedisFault::Refused && !self.is_unknown_command() {
            self.kind = RedisFault::Authentication;
        }
        self.of_greeting()
    }

    /// Whether the server knows the command, and not with as many arguments.
    pub(super) fn is_of_arguments(&self) -> bool {
        self.says("wrong number of arguments")
    }

    pub(super) fn is_unknown_command(&self) -> bool {
        self.says(UNKNOWN_COMMAND)
    }

    fn says(&self, text: &str) -> bool {
        let detail = self.cause.as_ref().and_then(RedisError::detail);
        detail.is_some_and(|detail| detail.contains(text))
    }

    pub(super) fn is_redirection(&self) -> bool {
        matches!(self.remedy, Remedy::Moved(_) | Remedy::Ask(_))
    }

    pub(super) fn lost_while_idle() -> Self {
        Self::of(RedisFault::ConnectionLost, None, false, Remedy::Reconnect)
    }

    pub(super) fn unexpected_reply() -> Self {
        Self::of(RedisFault::Protocol, None, true, Remedy::Reconnect)
    }

    /// A Sentinel does not know a master of this name.
    pub(super) fn no_such_master() -> Self {
        let cause = (ErrorKind::MasterNameNotFoundBySentinel, "no such master");
        Self::of(
            RedisFault::Unreachable,
            Some(cause.into()),
            false,
            Remedy::Reconnect,
        )
    }

    pub(super) fn not_the_master() -> Self {
        Self::of(RedisFault::ReadOnly, None, false, Remedy::Reconnect)
    }

    /// No node of the cluster has the slot.
    #[cfg(feature = "redis-cluster")]
    pub(super) fn slot_not_served() -> Self {
        Self::of(RedisFault::NotReady, None, false, Remedy::Reconnect)
    }

    /// A command failed with this.
    pub(super) fn of_command(cause: RedisError) -> Self {
        if let Some(fault) = Self::answered(cause.clone()) {
            return fault;
        }
        let kind = match cause.kind() {
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => RedisFault::Protocol,
            _ => RedisFault::ConnectionLost,
        };
        Self::of(kind, Some(cause), true, Remedy::Reconnect)
    }

    /// If this is an error that a server answered with.
    fn answered(cause: RedisError) -> Option<Self> {
        use ServerErrorKind::{
            Ask, BusyLoading, ClusterDown, MasterDown, Moved, NoPerm, ReadOnly, TryAgain,
        };
        let (kind, maybe_done, remedy) = match cause.kind() {
            ErrorKind::Server(ReadOnly) => (RedisFault::ReadOnly, false, Remedy::Reconnect),
            ErrorKind::Server(BusyLoading | MasterDown | ClusterDown | TryAgain) => {
                (RedisFault::NotReady, false, Remedy::Reconnect)
            }
            ErrorKind::Server(NoPerm) => (RedisFault::Permission, false, Remedy::Reconnect),
            ErrorKind::Server(moved @ (Moved | Ask)) => {
                let node = cause.redirect_node().map(|(node, _)| node.to_owned());
                let remedy = match node {
                    Some(node) if moved == Moved => Remedy::Moved(node),
                    Some(node) => Remedy::Ask(node),
                    None => Remedy::Reconnect,
                };
                (RedisFault::NotReady, false, remedy)
            }
            ErrorKind::Server(_) | ErrorKind::Extension => match cause.code()? {
                "NOAUTH" | "WRONGPASS" => (RedisFault::Authentication, false, Remedy::Reconnect),
                "OOM" | "MISCONF" | "NOREPLICAS" => (RedisFault::NoRoom, false, Remedy::Reconnect),
                "BUSY" => (RedisFault::NotReady, false, Remedy::Reconnect),
                // The protected mode of a server that has no password.
                "DENIED" => (RedisFault::Unreachable, false, Remedy::Reconnect),
                "WRONGTYPE" => (RedisFault::Refused, false, Remedy::GiveUp),
                "ERR" => match cause.detail().and_then(of_a_plain_error) {
                    Some(RedisFault::Refused) => (RedisFault::Refused, false, Remedy::GiveUp),
                    Some(kind) => (kind, false, Remedy::Reconnect),
                    None => (RedisFault::Refused, true, Remedy::Reconnect),
                },
                _ => (RedisFault::Refused, true, Remedy::Reconnect),
            },
            _ => return None,
        };
        Some(Self::of(kind, Some(cause), maybe_done, remedy))
    }

    fn of(kind: RedisFault, cause: Option<RedisError>, maybe_done: bool, remedy: Remedy) -> Self {
        Self {
            kind,
            cause,
            maybe_done,
            remedy,
        }
    }
}

const UNKNOWN_COMMAND: &str = "unknown command";

/// What an error means that has no code of its own; nothing was done then.
///
/// Servers differ in how they tell what a command in a script met. The scripts of the store change nothing
/// before their last command.
fn of_a_plain_error(detail: &str) -> Option<RedisFault> {
    let faults = [
        (UNKNOWN_COMMAND, RedisFault::Refused),
        // Of proxies that do not let every command pass.
        ("not support for", RedisFault::Refused),
        // The client is on no list of those that may connect.
        ("illegal address", RedisFault::Unreachable),
        ("max number of clients reached", RedisFault::NoRoom),
        ("ACL failure in script", RedisFault::Permission),
        (
            "executing the script can't run this",
            RedisFault::Permission,
        ),
        ("-NOPERM ", RedisFault::Permission),
        ("-READONLY ", RedisFault::ReadOnly),
        ("-OOM ", RedisFault::NoRoom),
        ("-MISCONF ", RedisFault::NoRoom),
        ("-NOREPLICAS ", RedisFault::NoRoom),
    ];
    let mut found = faults
        .iter()
        .filter(|(text, _)| detail.contains(text))
        .map(|(_, kind)| *kind);
    found.next()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.cause.as_ref()?;
        Some(cause)
    }
}

impl From<Fault> for ReplayStoreError {
    fn from(fault: Fault) -> Self {
        if fault.maybe_done {
            Self::new(fault)
        } else {
            Self::nothing_done(fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::{RedisResult, Value, parse_redis_value};

    use super::*;

    fn fault(answer: &str) -> Fault {
        let value: RedisResult<Value> = parse_redis_value(answer.as_bytes());
        Fault::of_command(value.unwrap().extract_error().unwrap_err())
    }

    #[test]
    fn what_a_server_answers_decides_what_is_done() {
        use RedisFault::{
            Authentication, NoRoom, NotReady, Permission, ReadOnly, Refused, Unreachable,
        };
        let answers = [
            ("-READONLY You can't write\r\n", ReadOnly, false, true),
            ("-LOADING Redis is loading\r\n", NotReady, false, true),
            (
                "-MASTERDOWN Link with MASTER is down\r\n",
                NotReady,
                false,
                true,
            ),
            (
                "-CLUSTERDOWN The cluster is down\r\n",
                NotReady,
                false,
                true,
            ),
            ("-TRYAGAIN Multiple keys\r\n", NotReady, false, true),
            (
                "-NOAUTH Authentication required.\r\n",
                Authentication,
                false,
                true,
            ),
            ("-WRONGPASS invalid\r\n", Authentication, false, true),
            ("-NOPERM no permissions\r\n", Permission, false, true),
            ("-OOM command not allowed\r\n", NoRoom, false, true),
            ("-MISCONF Redis is configured\r\n", NoRoom, false, true),
            ("-NOREPLICAS Not enough\r\n", NoRoom, false, true),
            ("-BUSY Redis is busy\r\n", NotReady, false, true),
            (
                "-ERR max number of clients reached\r\n",
                NoRoom,
                false,
                true,
            ),
            (
                "-ERR ACL failure in script: no permission\r\n",
                Permission,
                false,
                true,
            ),
            (
                "-ERR Error running script: -READONLY You can't\r\n",
                ReadOnly,
                false,
                true,
            ),
            (
                "-ERR Error running script: -OOM command\r\n",
                NoRoom,
                false,
                true,
            ),
            ("-ERR upstream failure\r\n", Refused, true, true),
            ("-WHATEVER a proxy says\r\n", Refused, true, true),
            (
                "-ERR unknown command 'eval', with args\r\n",
                Refused,
                false,
                false,
            ),
            (
                "-ERR command eval not support for normal user\r\n",
                Refused,
                false,
                false,
            ),
            ("-ERR illegal address\r\n", Unreachable, false, true),
            (
                "-DENIED Redis is running in protected mode\r\n",
                Unreachable,
                false,
                true,
            ),
            ("-WRONGTYPE Operation against\r\n", Refused, false, false),
        ];
        for (answer, kind, maybe_done, reconnects) in answers {
            let fault = fault(answer);
            assert_eq!(
                (fault.kind, fault.maybe_done),
                (kind, maybe_done),
                "{answer}"
            );
            assert_eq!(fault.remedy == Remedy::Reconnect, reconnects, "{answer}");
        }
        let moved = fault("-MOVED 7 10.0.0.1:6379\r\n");
        assert_eq!(moved.remedy, Remedy::Moved("10.0.0.1:6379".to_owned()));
        let ask = fault("-ASK 7 10.0.0.1:6379\r\n");
        assert_eq!(ask.remedy, Remedy::Ask("10.0.0.1:6379".to_owned()));
    }

    #[test]
    fn a_node_without_a_name_is_at_the_host_that_tells_of_it() {
        let node = |answer, host| match fault(answer).told_by(host).remedy {
            Remedy::Moved(node) | Remedy::Ask(node) => node,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            node("-MOVED 7 :6380\r\n", Some("10.0.0.1")),
            "10.0.0.1:6380"
        );
        assert_eq!(node("-ASK 7 ?:6380\r\n", Some("::1")), "::1:6380");
        assert_eq!(node("-MOVED 7 b:6380\r\n", Some("a")), "b:6380");
        assert_eq!(node("-MOVED 7 ::1:6380\r\n", Some("a")), "::1:6380");
    }
}
