//! The contract of a login service: [`LoginRequest`] in, [`AccessToken`](crate::AccessToken) or [`LoginError`] out.
//!
//! A login service is any `tower::Service<LoginRequest, Response = AccessToken>` whose error converts into
//! [`BoxError`](crate::BoxError). In reading order: `request`, `retry_advice` and `error` (the contract), `trigger` (how a login
//! service requests a refresh), `login_fn` (a login service from a function), `erased` (a login service without its
//! type), `current` (which login the current task belongs to).

pub(crate) mod current;
pub(crate) mod erased;
pub(crate) mod error;
pub(crate) mod login_fn;
pub(crate) mod request;
mod retry_advice;
pub(crate) mod trigger;

pub use self::{
    error::LoginError,
    login_fn::{LoginFn, login_fn},
    request::{LoginReason, LoginRequest},
};
