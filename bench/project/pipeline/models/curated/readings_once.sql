-- kind: append
SELECT reading_id, device_id, observed_at, heart_rate, spo2, skin_temp_c, steps
FROM raw.readings
