-- kind: upsert
-- key: user_id
-- sequence: occurred_at, event_id
-- deleted: is_over
SELECT
  e.user_id, -- a comment with a quote ' and FROM raw.nothing
  e.occurred_at,
  e.event_id,
  concat(e.event, '') AS event,
  /* SELECT x FROM y */ coalesce(e.screen, '${env:HOME} — keiner') AS screen,
  e.event = 'message_read' AND e.platform IS NULL AS is_over
FROM raw.app_events AS e -- the end
