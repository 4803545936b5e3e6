-- kind: rollup
-- time: day
SELECT
  patient_id,
  CAST(recorded_at AS DATE) AS day,
  COUNT(*) AS readings, -- all of them
  COUNT(*) FILTER (WHERE heart_rate > 100) AS raised,
  AVG(heart_rate) FILTER (WHERE heart_rate > 100) AS raised_avg,
  MIN(recorded_at) AS first_at,
  MAX(recorded_at) AS last_at,
  MAX(device_id) AS device_max,
  /* decimals, so that the sum is the same in every order */
  SUM(CAST(CAST(skin_temp AS DECIMAL(5,1)) * 10 AS BIGINT)) / 10 AS tenths,
  SUM(steps) / COUNT(steps) AS steps_a_reading
FROM curated.vitals
GROUP BY patient_id, CAST(recorded_at AS DATE)
