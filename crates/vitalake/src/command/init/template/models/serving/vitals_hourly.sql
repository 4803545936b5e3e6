-- kind: rollup
-- time: hour
-- Kept up to date as rows come, also late ones: only the hours that changed are written again.
SELECT
  device_id,
  date_trunc('hour', measured_at) AS hour,
  COUNT(*) AS readings,
  AVG(heart_rate) AS heart_rate_avg,
  MAX(heart_rate) AS heart_rate_max,
  SUM(steps) AS steps
FROM curated.vitals
GROUP BY device_id, date_trunc('hour', measured_at)
