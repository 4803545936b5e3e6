-- kind: append
-- A reading belongs to whoever wore the device at that moment. Without such a person patient_id is null, which the
-- contract refuses: the reading waits in quarantine.vitals.
SELECT a.patient_id, r.device_id, r.recorded_at, r.heart_rate, r.spo2, r.skin_temp, r.steps
FROM raw.wearable_readings r
LEFT JOIN raw.device_assignments a
  ON a.device_id = r.device_id
  AND r.recorded_at >= a.assigned_from
  AND (a.assigned_to IS NULL OR r.recorded_at < a.assigned_to)
