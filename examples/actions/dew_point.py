"""Shows a physical formula on an hourly stream: temperature and humidity to dew point.

    {"seq": 1, "time": "2013-01-01T06Z", "temp_c": 3.9, "humidity_pct": 59.4}

The dew point is the temperature at which the air's water condenses (Magnus formula,
with the coefficients of Alduchov and Eskridge, 1996). The recorded year in
examples/data has the station's own dew point, so every answer can be checked.
"""

import math

MAGNUS_A = 17.625
MAGNUS_B_C = 243.04


def main(params):
    # The feed wraps a message: {"topic": ..., "payload": ...}; a direct call is bare.
    reading = params.get("payload", params)
    try:
        temp, humidity = float(reading["temp_c"]), float(reading["humidity_pct"])
        gamma = math.log(humidity / 100) + MAGNUS_A * temp / (MAGNUS_B_C + temp)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return {"error": "a reading needs temp_c and humidity_pct above zero"}
    return {
        "seq": reading.get("seq"),
        "time": reading.get("time"),
        "dew_point_c": round(MAGNUS_B_C * gamma / (MAGNUS_A - gamma), 1),
    }
