-- kind: append
SELECT
  e.event_id,
  p.patient_id,
  p.cohort,
  e.occurred_at,
  e.event,
  e.screen,
  CAST(CASE WHEN e.event = 'session_started' THEN 1 ELSE 0 END AS BIGINT) AS is_session,
  CAST(CASE WHEN e.event IN ('symptom_reported', 'medication_logged') THEN 1 ELSE 0 END AS BIGINT) AS is_self_report
FROM raw.app_events e
LEFT JOIN raw.patients p ON p.app_user_id = e.user_id
