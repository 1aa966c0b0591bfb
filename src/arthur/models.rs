//! What the API answers. Fields that are `Option` may be null or absent, and unknown fields are ignored.

use serde::Deserialize;

/// The user who logged in.
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
    /// Whether the user is sent alerts.
    pub alert_notifications_enabled: Option<bool>,
    /// Whether the introduction is shown.
    pub show_intro_sequence: Option<bool>,
    /// Whether help is shown.
    pub help_mode_enabled: Option<bool>,
    /// When the user was created, as the server writes it.
    pub created_at: Option<String>,
}

/// The user that a token belongs to. A service's token fills `organization_id` and `roles` only.
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
    /// Whether the user is sent alerts.
    pub alert_notifications_enabled: Option<bool>,
    /// Whether the introduction is shown.
    pub show_intro_sequence: Option<bool>,
    /// Whether help is shown.
    pub help_mode_enabled: Option<bool>,
    /// The organization's plan.
    pub plan: Option<String>,
    /// When the user was created, as the server writes it.
    pub created_at: Option<String>,
    /// What the user may act for.
    pub contexts: Option<Vec<UserContext>>,
}

/// Something that a user may act for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct UserContext {
    /// Its name.
    pub name: Option<String>,
    /// Its id.
    pub id: Option<String>,
}

/// What a token says of its owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AuthenticationInfo {
    /// The ids of the owner's organizations.
    pub organization_ids: Vec<String>,
    /// Who issued the token.
    pub issuer: String,
    /// The owner's id at an external identity provider.
    pub external_user_id: Option<String>,
    /// The owner's id in the API.
    pub internal_user_id: Option<String>,
    /// The id of the service account, where the owner is one.
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
