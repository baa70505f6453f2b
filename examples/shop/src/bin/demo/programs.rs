//! Programs of the demo, with their arguments and settings.

use std::path::Path;

use crate::{
    broker::Broker,
    databases::{Databases, Service},
    processes::{Program, free_port},
};

/// Factory of the demo's programs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Programs<'a> {
    pub(crate) databases: &'a Databases,
    pub(crate) broker: &'a Broker,
}

impl Programs<'_> {
    /// Returns the programs that run throughout the demo.
    pub(crate) fn all(self, tap_report: &Path) -> anyhow::Result<Vec<Program>> {
        let mut all = vec![self.tap(tap_report)];
        for service in Service::ALL {
            all.push(self.service(service)?);
        }
        for service in Service::PUBLISHING {
            all.push(self.relay(service, relay_name(service))?);
        }
        Ok(all)
    }

    fn tap(self, report: &Path) -> Program {
        Program {
            name: "tap".to_owned(),
            binary: "shop-tap",
            arguments: vec!["--report".to_owned(), report.display().to_string()],
            environment: vec![("POSTROOM_AMQP_URL", self.broker.url())],
            admin_port: None,
        }
    }

    fn service(self, service: Service) -> anyhow::Result<Program> {
        let (binary, arguments) = match service {
            Service::Orders => ("shop-orders", vec!["serve".to_owned()]),
            Service::Billing => ("shop-billing", Vec::new()),
            Service::Loyalty => ("shop-loyalty", Vec::new()),
            Service::Shipping => ("shop-shipping", Vec::new()),
        };
        Ok(Program {
            name: service.name().to_owned(),
            binary,
            arguments,
            environment: vec![
                (
                    "POSTROOM_DATABASE_URL",
                    self.databases.service_url(service)?,
                ),
                ("POSTROOM_AMQP_URL", self.broker.url()),
            ],
            admin_port: None,
        })
    }

    /// Returns a relay of a service's outbox; a second relay stands by.
    pub(crate) fn relay(self, service: Service, name: String) -> anyhow::Result<Program> {
        let port = free_port()?;
        let mut relay = self.relay_command(service, &["run"])?;
        relay.name = name;
        relay.admin_port = Some(port);
        let listen = ("POSTROOM_ADMIN_LISTEN", format!("127.0.0.1:{port}"));
        relay.environment.push(listen);
        Ok(relay)
    }

    /// Returns the command `relay status --json`.
    pub(crate) fn relay_status(self, service: Service) -> anyhow::Result<Program> {
        self.relay_command(service, &["status", "--json"])
    }

    fn relay_command(self, service: Service, arguments: &[&str]) -> anyhow::Result<Program> {
        Ok(Program {
            name: format!("relay {} of {}", arguments.join(" "), service.name()),
            binary: "relay",
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: vec![
                ("POSTROOM_DATABASE_URL", self.databases.relay_url(service)?),
                ("POSTROOM_AMQP_URL", self.broker.url()),
                ("POSTROOM_AMQP_SOURCE", service.name().to_owned()),
            ],
            admin_port: None,
        })
    }

    pub(crate) fn import(self, file: &Path, producers: u16) -> anyhow::Result<Program> {
        let mut import = self.service(Service::Orders)?;
        "import".clone_into(&mut import.name);
        import.arguments = vec![
            "import".to_owned(),
            format!("--producers={producers}"),
            "--".to_owned(),
            file.display().to_string(),
        ];
        Ok(import)
    }
}

/// Returns the name of a service's relay process.
pub(crate) fn relay_name(service: Service) -> String {
    format!("relay-{}", service.name())
}
