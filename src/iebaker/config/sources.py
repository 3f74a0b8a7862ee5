"""The places that a benchmark comes from, as params.yaml names them, and how what they give is laid out."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from iebaker.config.section import Count, Section

Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
Format = Literal["karpathy", "nwpu", "ucm", "parquet", "csv"]


class Layout(Section):
    """How annotations and images lie in what a source gives."""

    format: Format | None = Field(None, description="of the annotations; null: recognised by what is there")
    annotations: str = Field("", description="annotation file among what the source gives; '' finds it")
    images: str = Field("", description="folder or archive of images among what the source gives; '' looks everywhere")


class PartParams(Section):
    """One place of a source, which may be written as its address alone."""

    place: Text = Field(description="synthetic, http(s)://..., hf://datasets/ORG/NAME@REVISION/GLOB, or a local path")
    sha256: str = Field("", pattern=r"^([0-9a-f]{64})?$", description="64 lower-case hexadecimal digits; '' unknown")
    md5: str = Field("", pattern=r"^([0-9a-f]{32})?$", description="where nothing better is published; '' unknown")

    @model_validator(mode="before")
    @classmethod
    def _address_alone(cls, value: Any) -> Any:
        return {"place": value} if isinstance(value, str) else value


class SourceParams(Layout):
    """One of `benchmark.<name>.sources`: all its parts together are the benchmark."""

    parts: Annotated[list[PartParams], Field(min_length=1)]
    megabytes: Count | None = Field(None, ge=1, description="to download, about")
