-- kind: full
SELECT
  a.screen,
  count(DISTINCT a.patient_id) AS patients,
  count(*) AS events,
  avg(a.is_self_report) AS reports,
  max(p.birth_date) AS youngest,
  max(a.occurred_at) AS last_at
FROM curated.app_activity a
LEFT JOIN raw.patients p ON p.patient_id = a.patient_id
GROUP BY a.screen
