-- kind: append
-- Runs on each new row of raw.readings, within moments of its arrival. What it selects must be the columns of
-- contracts/curated/vitals.yaml, which `vitalake validate` checks before any data flows.
SELECT
  reading_id,
  device_id,
  measured_at,
  heart_rate,
  COALESCE(steps, 0) AS steps
FROM raw.readings
