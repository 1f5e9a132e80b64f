"""Shows a sensor at work: one daily reading comes in over MQTT, its day is judged.

Put it behind a trigger on an MQTT feed (`edgectl on mqtt weather/daily weather`), then
publish readings such as

    {"seq": 1, "date": "2015-01-01", "temp_max": 5.6, "temp_min": -3.2}

The day is named by the climate indices of the World Meteorological Organization (ice
day: never above zero; frost day: below zero at night; summer day: above 25 degrees).
Its growing degree days (how far its mean temperature is above 10 degrees) tell a farmer
how far the crop has come. `weather.js` answers the same.
"""

GROWING_BASE_C = 10.0
SUMMER_C = 25.0
SUMMER_C = 25.0


def main(params):
    # The feed wraps a message: {"topic": ..., "payload": ...}; a direct call is bare.
    reading = params.get("payload", params)
    if not isinstance(reading, dict) or not {"temp_max", "temp_min"} <= reading.keys():
        return {"error": "a reading needs temp_max and temp_min"}
    high, low = float(reading["temp_max"]), float(reading["temp_min"])
    mean = (high + low) / 2
    return {
        "seq": reading.get("seq"),
        "date": reading.get("date"),
        "mean_c": round(mean, 2),
        "range_c": round(high - low, 1),
        "growing_degree_days": round(max(0.0, mean - GROWING_BASE_C), 2),
        "day": day(high, low),
    }


def day(high, low):
    if high < 0:
        return "ice"
    if low < 0:
        return "frost"
    return "summer" if high > SUMMER_C else "mild"
