//! The responses of the API. An `Option` can be null or absent in the JSON. Unknown fields are ignored.

use serde::Deserialize;

/// The user who logged in, as [`UserLogin`](super::UserLogin) returns it.
///
/// ```
/// use tower_auth_refresh::arthur::User;
///
/// fn label(user: &User) -> &str {
///     user.username.as_deref().unwrap_or(&user.email)
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// The user's id.
    pub id: String,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The e-mail address.
    pub email: String,
    /// The user name.
    pub username: Option<String>,
    /// The names of the user's roles.
    pub roles: Option<Vec<String>>,
    /// Whether the user receives alerts.
    pub alert_notifications_enabled: Option<bool>,
    /// Whether the introduction is shown.
    pub show_intro_sequence: Option<bool>,
    /// Whether help is shown.
    pub help_mode_enabled: Option<bool>,
    /// The time at which the user was created, in the server's format.
    pub created_at: Option<String>,
}

/// The user that a token belongs to. For a service account, only `organization_id` and `roles` are set.
///
/// ```
/// use tower_auth_refresh::arthur::UserResponse;
///
/// fn organization(user: &UserResponse) -> &str {
///     user.organization_name.as_deref().unwrap_or(&user.organization_id)
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserResponse {
    /// The user's id.
    pub id: Option<String>,
    /// The id of the user's organization.
    pub organization_id: String,
    /// The organization's name.
    pub organization_name: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The user name.
    pub username: Option<String>,
    /// The names of the user's roles.
    pub roles: Option<Vec<String>>,
    /// Whether the user receives alerts.
    pub alert_notifications_enabled: Option<bool>,
    /// Whether the introduction is shown.
    pub show_intro_sequence: Option<bool>,
    /// Whether help is shown.
    pub help_mode_enabled: Option<bool>,
    /// The organization's plan.
    pub plan: Option<String>,
    /// The time at which the user was created, in the server's format.
    pub created_at: Option<String>,
    /// The contexts in which the user can act.
    pub contexts: Option<Vec<UserContext>>,
}

/// A context in which a user can act.
///
/// ```
/// use tower_auth_refresh::arthur::UserContext;
///
/// fn find<'a>(contexts: &'a [UserContext], name: &str) -> Option<&'a UserContext> {
///     contexts.iter().find(|context| context.name.as_deref() == Some(name))
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserContext {
    /// The name of the context.
    pub name: Option<String>,
    /// The id of the context.
    pub id: Option<String>,
}

/// What a token contains about its owner, as [`GetAuthInfo`](super::GetAuthInfo) returns it.
///
/// ```
/// use tower_auth_refresh::arthur::AuthenticationInfo;
///
/// fn is_service_account(info: &AuthenticationInfo) -> bool {
///     info.service_account_id.is_some()
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AuthenticationInfo {
    /// The ids of the owner's organizations.
    pub organization_ids: Vec<String>,
    /// The issuer of the token.
    pub issuer: String,
    /// The owner's id at an external identity provider.
    pub external_user_id: Option<String>,
    /// The owner's id in the API.
    pub internal_user_id: Option<String>,
    /// The id of the service account, if the owner is one.
    pub service_account_id: Option<String>,
    /// The user name.
    pub username: String,
    /// The first name.
    pub first_name: String,
    /// The last name.
    pub last_name: String,
    /// The e-mail address.
    pub email: String,
    /// The names of the owner's roles.
    pub roles: Vec<String>,
}
