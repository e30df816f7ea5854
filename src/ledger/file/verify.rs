//! Every invariant of the file, recomputed.

use rusqlite::Connection;

/// See [`crate::ledger::Reading::verify`].
pub(super) fn verify(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    // Each query yields a sentence per violation.
    const CHECKS: [&str; 7] = [
        "SELECT 'SQLite finds the file damaged: ' || integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
        "SELECT 'number ' || seq || ' stands at ' || count(*) || ' entries' FROM entries
         WHERE seq IS NOT NULL GROUP BY seq HAVING count(*) > 1",
        "SELECT 'call ' || call || ' is ended by entry ' || end_seq || ', before its hold' FROM bookings
         WHERE end_seq <= hold_seq",
        "SELECT 'call ' || call || ' names a team, key, route or outcome that has no name' FROM bookings
         WHERE NOT EXISTS (SELECT 1 FROM names WHERE id = team) OR NOT EXISTS (SELECT 1 FROM names WHERE id = key)
           OR NOT EXISTS (SELECT 1 FROM names WHERE id = route)
           OR (end_seq IS NOT NULL AND NOT EXISTS (SELECT 1 FROM names WHERE id = outcome))",
        "SELECT 'entry ' || end_seq || ' settles call ' || call || ' by estimate at another amount than was held' FROM bookings
         WHERE kind = 2 AND credits <> reserve",
        "SELECT 'the sums of ' || coalesce(s.day, e.day) || ', team ' || coalesce(s.team, e.team) || ', key ' || coalesce(s.key_id, e.key_id) || ' are '
                || coalesce(s.amount, 0) || ' millionths, the entries say ' || coalesce(e.amount, 0)
         FROM (SELECT date(day * 86400, 'unixepoch') AS day, t.name AS team, k.name AS key_id, sum(final + estimated) AS amount
               FROM day_sums JOIN names t ON t.id = team JOIN names k ON k.id = key GROUP BY day_sums.day, t.id, k.id) s
         FULL JOIN (SELECT day, team, key_id, sum(credits) AS amount FROM entries
                    WHERE kind IN ('settled', 'voided', 'adjusted') GROUP BY day, team, key_id) e
           ON e.day = s.day AND e.team = s.team AND e.key_id = s.key_id
         WHERE coalesce(s.amount, 0) <> coalesce(e.amount, 0)
           AND coalesce(s.day, e.day) >= coalesce((SELECT max(before) FROM pruned), '')",
        "SELECT 'caller key ' || id || ' stands in the ledger, and no event says how' FROM caller_keys
         WHERE NOT EXISTS (SELECT 1 FROM key_events WHERE key_id = id)",
    ];
    let mut wrong = Vec::new();
    for check in CHECKS {
        let mut statement = connection.prepare(check)?;
        let found = statement.query_map([], |row| row.get::<_, String>(0))?;
        wrong.extend(found.take(100).collect::<Result<Vec<_>, _>>()?);
    }
    Ok(wrong)
}
