/** A valid control signal of each type; `fields` are added to it. */
export function signal(control_type: string, fields: object = {}): Record<string, unknown> {
  const required: Record<string, Record<string, unknown>> = {
    guidance_request: { question: 'Which region?' },
    guidance_answer: { answer: 'Europe.' },
    completion: {},
    validation: { status: 'passed', done_criteria: 'Tests are green.' },
  };
  return {
    schema_version: 1,
    control_type,
    run_id: 'run-1',
    agent_name: 'builder',
    ...required[control_type],
    ...fields,
  };
}
