@echo off
rem Actipress's command line on Windows: checks what it needs, builds what has changed, runs it.
rem There are no blocks: a path with a closing parenthesis would end one.
setlocal
set "root=%~dp0"
set "program=%root%artifacts\bin\Actipress.Cli\release_win-x64\Actipress.Cli.dll"
set "log=%root%artifacts\build.log"

set sdk=
set "found=no dotnet on the PATH"
for /f "tokens=1* delims=." %%a in ('dotnet --list-sdks 2^>nul') do call :see "%%a" "%%b"
if defined sdk goto build
echo actipress: the .NET 10 SDK is missing.>&2
echo   found:   %found%>&2
echo   wanted:  a 10.x SDK>&2
echo   way out: winget install Microsoft.DotNet.SDK.10, or https://dotnet.microsoft.com/download, and a new terminal.>&2
exit /b 2

:see
set "found=%~1.%~2"
if "%~1"=="10" set sdk=10
exit /b 0

:build
if not exist "%root%artifacts" mkdir "%root%artifacts"
if not exist "%program%" echo actipress: building; the first time also downloads TorchSharp, 0.3 GB>&2
set backend=
if defined TORCH_BACKEND set "backend=-p:TorchBackend=%TORCH_BACKEND%"
dotnet build "%root%src\Actipress.Cli" -c Release -v q -m:1 -p:NuGetAudit=false %backend% >"%log%" 2>&1
if errorlevel 1 goto failed
dotnet "%program%" %*
exit /b %errorlevel%

:failed
type "%log%">&2
echo actipress: building failed; see the lines above, which are in "%log%".>&2
exit /b 2
