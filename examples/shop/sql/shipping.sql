-- The shipping service's own tables.

-- Replica of the customers, whom the orders service announces. Shipping asks nobody while it works.
CREATE TABLE customers (
    customer bigint      PRIMARY KEY,
    known_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE shipments (
    shipment_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id    bigint      NOT NULL,
    customer    bigint      NOT NULL REFERENCES customers,
    cds         integer     NOT NULL,
    cents       bigint      NOT NULL,
    shipped_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Parcels that the orders service has asked to insure.
CREATE TABLE insured (
    policy   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id bigint NOT NULL
);
