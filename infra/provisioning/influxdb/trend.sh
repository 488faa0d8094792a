#!/bin/sh
# Runs once, when the official InfluxDB 2 image sets itself up: minute means of every bed are kept for a year.
# The same as the continuous query that infra/launch/influx.py makes on 1.8; minutes are computed anew for two hours.
set -e
influx bucket create --name ward/trend --retention 365d
influx task create - <<'FLUX'
option task = {name: "ward trend", every: 5m, offset: 30s}

from(bucket: "ward/live")
    |> range(start: -2h)
    |> filter(fn: (r) => r._measurement == "beds")
    |> filter(fn: (r) => contains(value: r._field, set: ["heart_rate", "respiration", "spo2", "systolic", "diastolic", "mean_pressure", "temperature", "supplemental_oxygen", "news2_max", "state"]))
    |> toFloat()
    |> aggregateWindow(every: 1m, fn: mean, createEmpty: false, timeSrc: "_start")
    |> to(bucket: "ward/trend")
FLUX
