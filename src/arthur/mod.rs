//! The Arthur API.
