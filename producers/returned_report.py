"""A result as a Comprehensive SR by TID 1500 (Measurement Report), made with highdicom."""

from __future__ import annotations

from typing import Any, Final

from contracts.records import ImageResult
from producers import returned_codes as codes
from producers import returned_series as series
from producers.returned_codes import concept

NUMBER: Final = 9001
"""Of the series: far from those of scanners."""
TITLE: Final[codes.Code] = ("126000", "DCM", "Imaging Measurement Report")


def report(result: ImageResult, source: Any) -> Any:
    """The report, a pydicom dataset with file meta. The same result and source give the same bytes.

    ``source`` is the header of the image as ``returned_series.source_of`` gives it. A refusal is a report too.
    """
    from highdicom.sr import ComprehensiveSR, MeasurementReport

    content = MeasurementReport(
        observation_context=_observers(result),
        procedure_reported=concept(codes.PROCEDURE),
        imaging_measurements=[_group(result, source)],
        title=concept(TITLE),
    )
    _say(content[0], series.sentences(result))
    made = ComprehensiveSR(
        evidence=[source],
        content=content,
        series_instance_uid=series.series_uid("sr", result, source),
        series_number=NUMBER,
        sop_instance_uid=series.uid("sr", result, source),
        instance_number=series.instance_number(source),
        manufacturer=series.MAKER,
        is_complete=True,
        is_final=False,
        specific_character_set="ISO_IR 192",
        manufacturer_model_name=series.model(result),
        software_versions=series.version(result),
        device_serial_number=series.version(result),
        series_description=f"{series.model(result)}: report",
    )
    _own_scheme(made)
    return series.finish(made, result, source)


def _observers(result: ImageResult) -> Any:
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes as dcm

    device = DeviceObserverIdentifyingAttributes(
        uid=series.device_uid(result),
        name=series.model(result),
        manufacturer_name=series.MAKER,
        model_name=series.model(result),
        serial_number=series.version(result),
    )
    observer = ObserverContext(observer_type=dcm.DCM.Device, observer_identifying_attributes=device)
    return ObservationContext(observer_device_context=observer)


def _group(result: ImageResult, source: Any) -> Any:
    """TID 1501: what was found in the image, how sure, by which algorithm."""
    from highdicom.sr import (
        FindingSite,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    told = None if result.refusal else codes.finding(result)
    evaluations = []
    if result.refusal:
        why = (result.refusal, codes.SCHEME, (result.detail or result.refusal)[:64])
        evaluations.append(QualitativeEvaluation(concept(codes.DECLINED), concept(why)))
    elif result.positive is not None:
        held = codes.POSITIVE if result.positive else codes.NEGATIVE
        evaluations.append(QualitativeEvaluation(concept(codes.IS_FINDING), concept(held)))
    site = codes.REGIONS.get(result.body_part or "")
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(series.uid("tracking", result, source), result.job_id[:64]),
        finding_type=concept(told) if told else None,
        algorithm_id=_algorithm(result),
        finding_sites=[FindingSite(concept(site))] if site else None,
        measurements=None if result.refusal else _measurements(result),
        qualitative_evaluations=evaluations or None,
        source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
    )


def _algorithm(result: ImageResult) -> Any:
    """TID 4019, with all that a finding can be walked back by."""
    from highdicom.sr import AlgorithmIdentification

    parameters = {
        "model sha256": result.model_sha256,
        "input sha256": result.input_sha256,
        "code": result.code,
        "threshold": result.threshold,
        "job": result.job_id,
    }
    return AlgorithmIdentification(
        name=series.model(result),
        version=series.version(result),
        parameters=[f"{name} {value}" for name, value in parameters.items() if value not in (None, "")],
        family=concept(codes.AI),
        manufacturer=series.MAKER,
    )


def _measurements(result: ImageResult) -> list[Any] | None:
    from highdicom.sr import Measurement

    if result.value is not None:
        unit = concept(codes.unit(result.unit))
        rows = ((codes.measure(result), result.value), (codes.LOW, result.low), (codes.HIGH, result.high))
        return [Measurement(concept(name), float(value), unit) for name, value in rows if value is not None]
    percent = concept(codes.UNITS["%"])
    made = []
    if result.probability is not None:
        made.append(Measurement(concept(codes.CERTAINTY), _percent(result.probability), percent))
    for label, probability in (result.probabilities or {}).items():
        name = (f"p_{label}", codes.SCHEME, f"Probability of {codes.of_label(result.model, label)[2]}"[:64])
        made.append(Measurement(concept(name), _percent(probability), percent))
    return made or None


def _percent(probability: float) -> float:
    return round(100.0 * probability, 2)


def _say(root: Any, sentences: list[str]) -> None:
    """Comments below the root: the template is extensible, and it has no place for words of its own."""
    from highdicom.sr import RelationshipTypeValues, TextContentItem

    for sentence in sentences:
        root.ContentSequence.append(
            TextContentItem(concept(codes.COMMENT), sentence, relationship_type=RelationshipTypeValues.CONTAINS)
        )


def _own_scheme(made: Any) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    ours = Dataset()
    ours.CodingSchemeDesignator, ours.CodingSchemeName = codes.SCHEME, codes.SCHEME_NAME
    ours.CodingSchemeResponsibleOrganization = series.MAKER
    made.CodingSchemeIdentificationSequence = Sequence([ours])
