-- kind: rollup
-- time: hour
SELECT
  patient_id,
  date_trunc('hour', recorded_at) AS hour,
  COUNT(*) AS readings,
  AVG(heart_rate) AS heart_rate_avg,
  MIN(heart_rate) AS heart_rate_min,
  MAX(heart_rate) AS heart_rate_max,
  AVG(spo2) AS spo2_avg,
  MIN(spo2) AS spo2_min,
  AVG(skin_temp) AS skin_temp_avg,
  SUM(steps) AS steps
FROM curated.vitals
GROUP BY patient_id, date_trunc('hour', recorded_at)
