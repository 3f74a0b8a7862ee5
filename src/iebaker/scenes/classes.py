"""The scene classes by name, in the spelling of RSICD's file names."""

from collections.abc import Callable

from iebaker.scenes import nature, sport, transport, urban
from iebaker.scenes.canvas import Canvas

DRAWERS = (
    transport.airport,
    sport.baseballfield,
    nature.beach,
    transport.bridge,
    urban.church,
    urban.commercial,
    urban.denseresidential,
    nature.desert,
    nature.farmland,
    nature.forest,
    sport.golfcourse,
    urban.industrial,
    nature.lake,
    nature.mountain,
    sport.park,
    transport.parking,
    sport.playground,
    transport.port,
    transport.railwaystation,
    nature.river,
    transport.roundabout,
    urban.solarfarm,
    urban.sparseresidential,
    sport.stadium,
    urban.storagetanks,
    sport.tenniscourt,
    transport.viaduct,
)
SCENES: dict[str, Callable[[Canvas], dict[str, str]]] = {drawer.__name__: drawer for drawer in DRAWERS}
