//! Figures read from the services' databases.

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::{
    databases::{Databases, Service},
    totals::Totals,
};

/// Figures of one service.
#[derive(Debug, Clone, Default, FromRow)]
pub(crate) struct Figures {
    #[sqlx(flatten)]
    pub(crate) totals: Totals,
    /// Figure of this service only: orders marked invoiced (orders), customers out of order (loyalty), or parcels insured
    /// (shipping).
    pub(crate) own: i64,
    /// Valuable orders that have no policy (orders).
    pub(crate) uninsured: i64,
    /// Number of effects beyond the first effect of each message.
    pub(crate) twice: i64,
    pub(crate) last_effect: Option<DateTime<Utc>>,
    #[sqlx(skip)]
    pub(crate) outbox: Outbox,
    /// Parked deliveries of the inbox, by reason, with the error of one delivery.
    #[sqlx(skip)]
    pub(crate) parked: Vec<Parked>,
}

/// Events that the service committed to its outbox, and commands and replies.
#[derive(Debug, Clone, Default, FromRow)]
pub(crate) struct Outbox {
    pub(crate) events: i64,
    pub(crate) commands: i64,
    pub(crate) first: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, FromRow)]
pub(crate) struct Parked {
    pub(crate) reason: String,
    pub(crate) deliveries: i64,
    pub(crate) error: Option<String>,
}

/// Figures of all services.
#[derive(Debug, Clone, Default)]
pub(crate) struct All {
    pub(crate) orders: Figures,
    pub(crate) billing: Figures,
    pub(crate) loyalty: Figures,
    pub(crate) shipping: Figures,
}

const ORDERS: &str = "
SELECT count(*) AS orders, count(DISTINCT customer) AS customers,
       coalesce(sum(cds), 0)::bigint AS cds, coalesce(sum(cents), 0)::bigint AS cents,
       count(*) FILTER (WHERE times_invoiced > 0) AS own,
       count(*) FILTER (WHERE cents >= 10000 AND policy IS NULL) AS uninsured,
       coalesce(sum(greatest(times_invoiced - 1, 0)), 0) AS twice,
       max(invoiced_at) AS last_effect
FROM orders";

const BILLING: &str = "
SELECT count(*) AS orders, count(DISTINCT customer) AS customers,
       coalesce(sum(cds), 0)::bigint AS cds, coalesce(sum(cents), 0)::bigint AS cents,
       0::bigint AS own, 0::bigint AS uninsured,
       count(*) - count(DISTINCT order_id) AS twice,
       max(invoiced_at) AS last_effect
FROM invoices";

const LOYALTY: &str = "
SELECT coalesce(sum(orders), 0)::bigint AS orders, count(*) AS customers,
       coalesce(sum(cds), 0)::bigint AS cds, coalesce(sum(cents), 0)::bigint AS cents,
       count(*) FILTER (WHERE out_of_order > 0) AS own, 0::bigint AS uninsured,
       coalesce(sum(greatest(orders - last_number, 0)), 0)::bigint AS twice,
       max(updated_at) AS last_effect
FROM members";

const SHIPPING: &str = "
SELECT count(*) AS orders, count(DISTINCT customer) AS customers,
       coalesce(sum(cds), 0)::bigint AS cds, coalesce(sum(cents), 0)::bigint AS cents,
       (SELECT count(*) FROM insured) AS own, 0::bigint AS uninsured,
       count(*) - count(DISTINCT order_id)
           + (SELECT count(*) - count(DISTINCT order_id) FROM insured) AS twice,
       max(shipped_at) AS last_effect
FROM shipments";

const OUTBOX: &str = "
SELECT count(*) FILTER (WHERE NOT starts_with(topic, 'postroom.in.')) AS events,
       count(*) FILTER (WHERE starts_with(topic, 'postroom.in.')) AS commands,
       min(occurred_at) AS first
FROM outbox.message";

const PARKED: &str = "
SELECT reason, count(*) AS deliveries, min(error) AS error FROM inbox.parked
GROUP BY reason ORDER BY reason";

/// Reads the figures of all services.
pub(crate) async fn read(databases: &Databases) -> anyhow::Result<All> {
    Ok(All {
        orders: read_one(databases, Service::Orders, ORDERS).await?,
        billing: read_one(databases, Service::Billing, BILLING).await?,
        loyalty: read_one(databases, Service::Loyalty, LOYALTY).await?,
        shipping: read_one(databases, Service::Shipping, SHIPPING).await?,
    })
}

async fn read_one(
    databases: &Databases,
    service: Service,
    sql: &'static str,
) -> anyhow::Result<Figures> {
    let mut database = databases.connect(service).await?;
    let read = read_on(&mut database, sql).await;
    read.with_context(|| format!("asking the database of {}", service.name()))
}

async fn read_on(database: &mut PgConnection, sql: &'static str) -> sqlx::Result<Figures> {
    let figures: Figures = sqlx::query_as(sql).fetch_one(&mut *database).await?;
    Ok(Figures {
        outbox: sqlx::query_as(OUTBOX).fetch_one(&mut *database).await?,
        parked: sqlx::query_as(PARKED).fetch_all(database).await?,
        ..figures
    })
}

/// Returns the number of orders placed so far.
pub(crate) async fn orders_placed(databases: &Databases) -> anyhow::Result<i64> {
    let mut database = databases.connect(Service::Orders).await?;
    let count = sqlx::query_scalar("SELECT count(*) FROM orders");
    Ok(count.fetch_one(&mut database).await?)
}

impl All {
    /// Returns the number of events committed in all outboxes.
    pub(crate) fn events(&self) -> i64 {
        self.each().iter().map(|one| one.outbox.events).sum()
    }

    /// Returns the number of commands and replies committed in all outboxes.
    pub(crate) fn commands(&self) -> i64 {
        self.each().iter().map(|one| one.outbox.commands).sum()
    }

    pub(crate) fn twice(&self) -> i64 {
        self.each().iter().map(|one| one.twice).sum()
    }

    /// Returns the seconds from the first commit to the last effect, by the server's clock.
    pub(crate) fn seconds(&self) -> Option<f64> {
        let first = self
            .each()
            .iter()
            .filter_map(|one| one.outbox.first)
            .min()?;
        let last = self.each().iter().filter_map(|one| one.last_effect).max()?;
        Some((last - first).as_seconds_f64())
    }

    pub(crate) fn each(&self) -> [&Figures; 4] {
        [&self.orders, &self.billing, &self.loyalty, &self.shipping]
    }
}
