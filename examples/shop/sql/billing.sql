-- The billing service's own table.
--
-- Nothing here keeps an order from being invoiced twice. The inbox does.

CREATE TABLE invoices (
    invoice_id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    bigint      NOT NULL,
    customer    bigint      NOT NULL,
    cds         integer     NOT NULL,
    cents       bigint      NOT NULL,
    invoiced_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
