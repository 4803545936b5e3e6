-- kind: rollup
-- time: day
SELECT
  patient_id,
  cohort,
  CAST(occurred_at AS DATE) AS day,
  COUNT(*) AS events,
  SUM(is_session) AS sessions,
  SUM(is_self_report) AS self_reports
FROM curated.app_activity
GROUP BY patient_id, cohort, CAST(occurred_at AS DATE)
