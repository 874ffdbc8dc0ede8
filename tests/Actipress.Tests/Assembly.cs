// torch's random state and the allocator's level belong to the process, so tests that use them must not overlap.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
[assembly: Actipress.Tests.SameSeed]
