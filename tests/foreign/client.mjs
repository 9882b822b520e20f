// fhir-kit-client against a running service: argument 1 is the address, 2 a token, 3 a patient.
// Prints what it met as JSON.
import { Client } from 'fhir-kit-client';

const [, , baseUrl, token, patient] = process.argv;
const client = new Client({ baseUrl, bearerToken: token });
const capability = await client.capabilityStatement();
const observation = (value, hour) => ({
  resourceType: 'Observation',
  status: 'final',
  subject: { reference: `Patient/${patient}` },
  code: { coding: [{ system: 'http://loinc.org', code: '8310-5' }] },
  effectiveDateTime: `2026-03-10T0${hour}:00:00Z`,
  valueQuantity: { value, unit: 'Cel', code: 'Cel', system: 'http://unitsofmeasure.org' },
});
const created = await client.create({ resourceType: 'Observation', body: observation(38.9, 1) });
const updated = await client.update({
  resourceType: 'Observation', id: created.id, body: { ...observation(39.1, 1), id: created.id },
});
const batch = await client.batch({
  body: {
    resourceType: 'Bundle',
    type: 'batch',
    entry: [2, 3, 4].map((hour) => ({
      resource: observation(37 + hour / 10, hour),
      request: { method: 'POST', url: 'Observation' },
    })),
  },
});
const read = await client.read({ resourceType: 'Observation', id: created.id });
const old = await client.vread({ resourceType: 'Observation', id: created.id, version: '1' });
let page = await client.search({ resourceType: 'Observation', searchParams: { patient, _count: 3 } });
const total = page.total;
const seen = [];
let pages = 0;
while (page) {
  pages += 1;
  seen.push(...page.entry.map((each) => each.resource.id));
  page = page.link.some((link) => link.relation === 'next') ? await client.nextPage({ bundle: page }) : null;
}
let refused = 0;
try {
  await client.search({ resourceType: 'Observation', searchParams: { colour: 'blue' } });
} catch (error) {
  refused = error.response.status;
}
console.log(JSON.stringify({
  version: capability.fhirVersion, created: created.valueQuantity.value, updated: updated.meta.versionId,
  read: read.valueQuantity.value, old: old.valueQuantity.value, total, pages, seen: new Set(seen).size,
  batch: batch.entry.map((each) => each.response.status), refused,
}));
