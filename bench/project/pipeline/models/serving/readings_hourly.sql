-- kind: rollup
-- time: hour
SELECT
  device_id,
  date_trunc('hour', observed_at) AS hour,
  COUNT(*) AS readings,
  AVG(heart_rate) AS heart_rate_avg,
  MAX(heart_rate) AS heart_rate_max,
  MIN(spo2) AS spo2_min,
  SUM(steps) AS steps
FROM curated.readings_once
GROUP BY device_id, date_trunc('hour', observed_at)
