//! Why a Harbor could not be asked, or what it had against it.

use accel_domain::ErrorClass;

use crate::https;

/// An error of Harbor's API, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HarborError {
    /// Nobody answers there, or not in TLS that is trusted.
    #[error(
        "no answer from {at} ({reason}): is it where Harbor's user interface is? --ca-file FILE trusts an authority \
         of your own, and plain HTTP has to be written out (http://HOST)"
    )]
    Unreachable { at: String, reason: String },
    /// The connection was there, and broke.
    #[error("the connection to {at} broke ({reason}); run the command again: it leaves what is right as it is")]
    Broken { at: String, reason: String },
    /// Of a call that makes a secret no answer came that can be read. It may have been carried out all the same.
    #[error(
        "{problem}; the robot may be there by now, or its old secret may have ended: run the command again with \
         --new-robot-secret"
    )]
    SecretLost { problem: String, class: ErrorClass },
    /// The login is wrong.
    #[error(
        "{at} does not accept the login of {user}: check --username and the password; where people log in through \
         OpenID Connect, take a local administrator or the user's CLI secret"
    )]
    Login { at: String, user: String },
    /// The login may not do this.
    #[error("{user} may not {what} at {at}: log in as {who}")]
    Forbidden { at: String, user: String, what: String, who: &'static str },
    /// A project that is not there, or not for this user.
    #[error("{at} shows {user} no project {project}: check its name, and that {user} is an administrator of it")]
    NoProject { at: String, user: String, project: String },
    /// Harbor says no.
    #[error("{at} refuses to {what}, with {status}: {message}")]
    Refused { at: String, what: String, status: u16, message: String },
    /// Something else than Harbor answers.
    #[error("{at} does not answer as Harbor 2 does: {reason}")]
    NotHarbor { at: String, reason: String },
    /// Too old.
    #[error("{at} is Harbor {version}; this command needs 2.8 or later: upgrade Harbor, or set it up by hand")]
    TooOld { at: String, version: String },
}

impl HarborError {
    /// This error of a call that makes a secret, which is told in its answer only.
    pub(super) fn while_making_a_secret(self) -> Self {
        let problem = match &self {
            // Without the advice to run the command as it was.
            Self::Broken { at, reason } => format!("the connection to {at} broke ({reason})"),
            Self::Refused { status: 500.., .. } | Self::NotHarbor { .. } => self.to_string(),
            _ => return self,
        };
        Self::SecretLost { problem, class: self.class() }
    }

    /// Whether it may go well later.
    pub(crate) fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => ErrorClass::BACKOFF,
            Self::Refused { status, .. } => https::class(*status),
            Self::SecretLost { class, .. } => *class,
            Self::Login { .. }
            | Self::Forbidden { .. }
            | Self::NoProject { .. }
            | Self::NotHarbor { .. }
            | Self::TooOld { .. } => ErrorClass::Permanent,
        }
    }
}
