-- The loyalty service's own table. Sums forgive nothing: a message lost or handled twice shows.

CREATE TABLE members (
    customer     bigint      PRIMARY KEY,
    orders       bigint      NOT NULL,
    cds          bigint      NOT NULL,
    cents        bigint      NOT NULL,
    last_number  integer     NOT NULL,
    out_of_order integer     NOT NULL,
    updated_at   timestamptz NOT NULL
);
COMMENT ON COLUMN members.out_of_order IS 'Orders whose number did not follow the one before';
