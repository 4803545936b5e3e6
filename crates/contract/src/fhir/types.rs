//! FHIR's names of types: primitives, the types that a choice may have, and resources.
//!
//! Of R4 and R5 together. Invariant: a name that is not here is refused nowhere; it is said to be unknown.

/// Primitive types whose JSON is text.
const TEXTS: [&str; 16] = [
    "string",
    "code",
    "id",
    "uri",
    "url",
    "canonical",
    "oid",
    "uuid",
    "markdown",
    "base64Binary",
    "date",
    "dateTime",
    "instant",
    "time",
    "xhtml",
    "integer64",
];
/// Primitive types whose JSON is a number.
const NUMBERS: [&str; 4] = ["integer", "positiveInt", "unsignedInt", "decimal"];

/// What may follow the name of a choice, and the type that it names.
const SUFFIXES: [(&str, &str); 52] = [
    ("String", "string"),
    ("Quantity", "Quantity"),
    ("CodeableConcept", "CodeableConcept"),
    ("DateTime", "dateTime"),
    ("Boolean", "boolean"),
    ("Period", "Period"),
    ("Reference", "Reference"),
    ("Code", "code"),
    ("Coding", "Coding"),
    ("Integer", "integer"),
    ("Decimal", "decimal"),
    ("Date", "date"),
    ("Time", "time"),
    ("Instant", "instant"),
    ("Range", "Range"),
    ("Ratio", "Ratio"),
    ("Age", "Age"),
    ("Uri", "uri"),
    ("Url", "url"),
    ("Canonical", "canonical"),
    ("Id", "id"),
    ("Oid", "oid"),
    ("Uuid", "uuid"),
    ("Markdown", "markdown"),
    ("Base64Binary", "base64Binary"),
    ("PositiveInt", "positiveInt"),
    ("UnsignedInt", "unsignedInt"),
    ("Integer64", "integer64"),
    ("SampledData", "SampledData"),
    ("Timing", "Timing"),
    ("Attachment", "Attachment"),
    ("Identifier", "Identifier"),
    ("Money", "Money"),
    ("Duration", "Duration"),
    ("Distance", "Distance"),
    ("Count", "Count"),
    ("SimpleQuantity", "SimpleQuantity"),
    ("Address", "Address"),
    ("Annotation", "Annotation"),
    ("ContactPoint", "ContactPoint"),
    ("HumanName", "HumanName"),
    ("Signature", "Signature"),
    ("Dosage", "Dosage"),
    ("Meta", "Meta"),
    ("Expression", "Expression"),
    ("DataRequirement", "DataRequirement"),
    ("TriggerDefinition", "TriggerDefinition"),
    ("UsageContext", "UsageContext"),
    ("CodeableReference", "CodeableReference"),
    ("RatioRange", "RatioRange"),
    ("ContactDetail", "ContactDetail"),
    ("RelatedArtifact", "RelatedArtifact"),
];

/// The type that what follows a choice's name says.
#[must_use]
pub fn of_suffix(suffix: &str) -> Option<&'static str> {
    SUFFIXES.iter().find(|(known, _)| *known == suffix).map(|(_, kind)| *kind)
}

/// Whether a primitive's JSON is text.
pub(super) fn is_text(kind: &str) -> bool {
    TEXTS.contains(&kind)
}

/// Whether a primitive's JSON is a number.
pub(super) fn is_number(kind: &str) -> bool {
    NUMBERS.contains(&kind)
}

/// Whether a type is primitive.
pub(super) fn is_primitive(kind: &str) -> bool {
    kind == "boolean" || is_text(kind) || is_number(kind)
}

/// Whether FHIR has a resource of that name.
#[must_use]
pub fn is_resource(name: &str) -> bool {
    RESOURCES.split_ascii_whitespace().any(|known| known == name)
}

/// The resource that a misspelt name most likely means.
pub(super) fn nearest_resource(name: &str) -> Option<&'static str> {
    crate::verdict::nearest(name, RESOURCES.split_ascii_whitespace())
}

const RESOURCES: &str = "\
    Account ActivityDefinition ActorDefinition AdministrableProductDefinition AdverseEvent AllergyIntolerance Appointment \
    AppointmentResponse ArtifactAssessment AuditEvent Basic Binary BiologicallyDerivedProduct \
    BiologicallyDerivedProductDispense BodyStructure Bundle CapabilityStatement CarePlan CareTeam CatalogEntry ChargeItem \
    ChargeItemDefinition Citation Claim ClaimResponse ClinicalImpression ClinicalUseDefinition CodeSystem Communication \
    CommunicationRequest CompartmentDefinition Composition ConceptMap Condition ConditionDefinition Consent Contract \
    Coverage CoverageEligibilityRequest CoverageEligibilityResponse DetectedIssue Device DeviceAssociation DeviceDefinition \
    DeviceDispense DeviceMetric DeviceRequest DeviceUsage DeviceUseStatement DiagnosticReport DocumentManifest \
    DocumentReference EffectEvidenceSynthesis Encounter EncounterHistory Endpoint EnrollmentRequest EnrollmentResponse \
    EpisodeOfCare EventDefinition Evidence EvidenceReport EvidenceVariable ExampleScenario ExplanationOfBenefit \
    FamilyMemberHistory Flag FormularyItem GenomicStudy Goal GraphDefinition Group GuidanceResponse HealthcareService \
    ImagingSelection ImagingStudy Immunization ImmunizationEvaluation ImmunizationRecommendation ImplementationGuide \
    Ingredient InsurancePlan InventoryItem InventoryReport Invoice Library Linkage List Location ManufacturedItemDefinition \
    Measure MeasureReport Media Medication MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest \
    MedicationStatement MedicinalProduct MedicinalProductAuthorization MedicinalProductContraindication \
    MedicinalProductDefinition MedicinalProductIndication MedicinalProductIngredient MedicinalProductInteraction \
    MedicinalProductManufactured MedicinalProductPackaged MedicinalProductPharmaceutical MedicinalProductUndesirableEffect \
    MessageDefinition MessageHeader MolecularSequence NamingSystem NutritionIntake NutritionOrder NutritionProduct Observation \
    ObservationDefinition OperationDefinition OperationOutcome Organization OrganizationAffiliation \
    PackagedProductDefinition Parameters Patient PaymentNotice PaymentReconciliation Permission Person PlanDefinition \
    Practitioner PractitionerRole Procedure Provenance Questionnaire QuestionnaireResponse RegulatedAuthorization \
    RelatedPerson RequestGroup RequestOrchestration Requirements ResearchDefinition ResearchElementDefinition ResearchStudy \
    ResearchSubject RiskAssessment RiskEvidenceSynthesis Schedule SearchParameter Sequence ServiceRequest Slot Specimen \
    SpecimenDefinition StructureDefinition StructureMap Subscription SubscriptionStatus SubscriptionTopic Substance \
    SubstanceDefinition SubstanceNucleicAcid SubstancePolymer SubstanceProtein SubstanceReferenceInformation \
    SubstanceSourceMaterial SubstanceSpecification SupplyDelivery SupplyRequest Task TerminologyCapabilities TestPlan \
    TestReport TestScript Transport ValueSet VerificationResult ViewDefinition VisionPrescription";
