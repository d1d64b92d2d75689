//! Which of Hwayo's six services this process is.

use std::env;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Web,
    ApiGateway,
    Auth,
    Workflow,
    Notification,
    Report,
}

impl Role {
    const ALL: [Role; 6] = [
        Role::Web,
        Role::ApiGateway,
        Role::Auth,
        Role::Workflow,
        Role::Notification,
        Role::Report,
    ];

    /// From `HWAYO_ROLE`, which the image sets.
    pub fn from_env() -> Result<Self, String> {
        Self::named(&env::var("HWAYO_ROLE").unwrap_or_default())
    }

    fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|role| role.name()).collect();
            format!("HWAYO_ROLE: `{name}` is none of {}", names.join(", "))
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Role::Web => "web",
            Role::ApiGateway => "api-gateway",
            Role::Auth => "auth",
            Role::Workflow => "workflow",
            Role::Notification => "notification",
            Role::Report => "report",
        }
    }

    /// One port each, because on one host all six may stand behind one router.
    pub fn port(self) -> u16 {
        match self {
            Role::Web => 3000,
            Role::ApiGateway => 3001,
            Role::Auth => 3002,
            Role::Workflow => 3003,
            Role::Notification => 3004,
            Role::Report => 3005,
        }
    }

    pub fn health_path(self) -> &'static str {
        match self {
            Role::Web => "/health",
            Role::ApiGateway => "/api/v1/health",
            Role::Auth => "/auth/health",
            Role::Workflow => "/workflow/health",
            Role::Notification => "/notification/health",
            Role::Report => "/report/health",
        }
    }

    /// Whether its health depends on PostgreSQL.
    pub fn has_database(self) -> bool {
        matches!(self, Role::ApiGateway | Role::Auth | Role::Workflow | Role::Report)
    }

    /// Whether its health depends on Redis.
    pub fn has_cache(self) -> bool {
        matches!(
            self,
            Role::ApiGateway | Role::Auth | Role::Workflow | Role::Notification
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_found_by_its_name_and_has_a_port_of_its_own() {
        for role in Role::ALL {
            assert_eq!(Role::named(role.name()), Ok(role));
            let sharing = Role::ALL.iter().filter(|other| other.port() == role.port());
            assert_eq!(sharing.count(), 1, "{role:?}");
        }
        let error = Role::named("gateway").expect_err("no such role");
        assert!(error.contains("api-gateway"), "{error}");
    }
}
