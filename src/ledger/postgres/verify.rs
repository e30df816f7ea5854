//! The books held against themselves.

use tokio_postgres::{Client, Error};

/// Each yields a sentence per violation, of which a hundred are enough to see what is wrong.
const CHECKS: [&str; 5] = [
    "SELECT 'call ' || call || ' is ended in turn ' || ended_in || ', before its hold' FROM bookings
     WHERE ended_in < held_in ORDER BY call LIMIT 100",
    "SELECT 'call ' || call || ' is settled by estimate at another amount than was held' FROM bookings
     WHERE kind = 2 AND credits <> reserve ORDER BY call LIMIT 100",
    "SELECT 'the sums of ' || to_char(DATE '1970-01-01' + day, 'YYYY-MM-DD') || ', team ' || team || ', key ' || key_id
            || ' are ' || summed || ' millionths, the entries say ' || entered
     FROM (SELECT day, team, key_id, coalesce(s.amount, 0) AS summed, coalesce(e.amount, 0) AS entered
           FROM (SELECT day, team, key_id, sum(final + estimated) AS amount FROM day_sums GROUP BY day, team, key_id) s
           FULL JOIN (SELECT day, team, key_id, sum(credits) AS amount
                      FROM (SELECT day, team, key_id, credits FROM bookings WHERE ended_in IS NOT NULL
                            UNION ALL
                            SELECT day, team, key_id, credits FROM changes WHERE kind = 'adjusted') entries
                      GROUP BY day, team, key_id) e
             USING (day, team, key_id)) compared
     WHERE summed <> entered AND day >= coalesce((SELECT max(before) FROM pruned), -2147483648)
     ORDER BY day, team, key_id LIMIT 100",
    "SELECT 'call ' || call || ' is open, and gateway ' || r.id || ', which held it, is gone' FROM bookings b
     JOIN replicas r ON r.id = b.replica WHERE b.ended_in IS NULL AND r.gone_at IS NOT NULL ORDER BY call LIMIT 100",
    "SELECT 'caller key ' || id || ' stands in the ledger, and no event says how' FROM caller_keys
     WHERE NOT EXISTS (SELECT 1 FROM key_events WHERE key_id = id) ORDER BY id LIMIT 100",
];

/// See [`crate::ledger::Reading::verify`].
pub(super) async fn verify(client: &Client) -> Result<Vec<String>, Error> {
    let mut wrong = Vec::new();
    for check in CHECKS {
        for row in client.query(check, &[]).await? {
            wrong.push(row.try_get(0)?);
        }
    }
    Ok(wrong)
}
