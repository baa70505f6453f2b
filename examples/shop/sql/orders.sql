-- The orders service's own tables.

CREATE TABLE customers (
    customer bigint  PRIMARY KEY,
    orders   integer NOT NULL
);
COMMENT ON COLUMN customers.orders IS 'How many so far: the number of the latest';

CREATE TABLE orders (
    order_id       bigint      PRIMARY KEY,
    customer       bigint      NOT NULL REFERENCES customers,
    number         integer     NOT NULL,
    date           date        NOT NULL,
    cds            integer     NOT NULL,
    cents          bigint      NOT NULL,
    times_invoiced integer     NOT NULL DEFAULT 0,
    invoiced_at    timestamptz,
    policy         bigint,
    UNIQUE (customer, number)
);
COMMENT ON COLUMN orders.order_id IS 'Line of the imported file';
COMMENT ON COLUMN orders.policy IS 'Insurance of the parcel, which shipping has given a number';
COMMENT ON COLUMN orders.number IS 'Counts the orders of a customer: 1, 2, 3 …';
